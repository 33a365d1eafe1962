"""The plots of a report outside of it: in a notebook, and as files for a paper."""
