"""Figures: plain numbers in, a :class:`~vitrun.plots.chart.Chart` out. The only room that imports matplotlib.

What is drawn, each with its data, title and note:

* :mod:`vitrun.plots.training`: ``draw_loss``, ``draw_learning_rate``, ``draw_accuracy`` (by step), ``draw_lr_grid``
* :mod:`vitrun.plots.transfer`: ``draw_few_shot``, ``draw_vtab``
* :mod:`vitrun.plots.paper`: ``draw_panels`` (figures 3 to 5 of the paper)
* :mod:`vitrun.plots.classes`: ``draw_class_accuracy``, ``draw_class_ap``, ``draw_confusion``, ``draw_reliability``

:mod:`vitrun.plots.attention` draws what ``vitrun visualize`` shows; :mod:`vitrun.plots.page` makes HTML pages of text,
tables, charts and pictures.

What they take: :mod:`vitrun.plots.points` (``Curve``, ``Point``, ``Scores``: in the units of the axes, accuracies in
percent), or arrays of counts. A ``source`` marks published numbers, which are drawn hollow.

How they are written: :mod:`vitrun.plots.chart` has ``Chart`` (``name``, ``title``, ``figure``, ``columns``, ``rows``,
``note``), ``save_chart`` (PNG, SVG and CSV), ``save_figure``, ``write_csv`` and ``to_svg`` for a page, which defines
``style.THEME_CSS`` once.

How to draw another: in the style of :mod:`vitrun.plots.style`, as ``@styled() def draw_...(...) -> Chart``, with
``create_axes``, ``series_style``, ``add_legend`` and ``use_log_scale``; many curves by ``lines.plot_curves``, names
beside points by ``labels.place_labels``.

Nothing here is imported before a figure is drawn: matplotlib takes half a second to load. Only :mod:`points` does not
need it.
"""
