"""The sections of a report below its verdict, one file each; nothing else is in this folder.

The module's name is the section's place in the page's address. Each has

    TITLE     of the heading,
    PLACE     a number: sections stand by it,
    TEXT      what is said first; may be left out,
    JUDGED_BY figures that it draws and that runs may be judged by: then it stands first; may be left out,
    blocks    a function of what is `Shown` (`results/report/shown.py`: the runs, by variant) that yields plots and
              tables (`page/blocks.py`: `Panel`, `TextTable`, ...; `page/figures.py` draws lines and bars); those
              without data or rows are left out, and so is a section without any.

Another figure is another section, or a function in one of these whose result `blocks` yields.
"""
