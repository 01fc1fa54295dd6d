"""vitrun in Python: a function for each command, and networks; ``import vitrun`` offers them.

Nothing is printed unless ``quiet=False``: lines go to the logger ``vitrun``. Errors are raised as ``UserError``.
"""
