"""Images with boxes as COCO's JSON lists them: COCO itself, or sets of one's own."""
