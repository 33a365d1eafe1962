"""HTML pages that open offline: their shell, tables and plots, for reports, comparisons, recipes and partitions."""
