"""Figures: arrays in, a :class:`~vitrun.plots.chart.Chart` out. The only room that imports matplotlib.

* :mod:`vitrun.plots.style`: the one style of all figures: ``styled``, ``create_axes``, ``add_legend``, ``THEME_CSS``
* :mod:`vitrun.plots.chart`: ``Chart`` (a figure with its data), ``save_chart``, ``save_figure``, ``to_svg``,
  ``write_csv``

* :mod:`vitrun.plots.page`: HTML pages of text, tables, charts and pictures

Nothing here is imported before a figure is drawn: matplotlib takes half a second to load.
"""
