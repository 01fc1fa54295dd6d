"""Linear classifiers of frozen features: ridge and logistic regression, after or during training."""
