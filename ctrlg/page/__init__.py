"""A page to write on, in the browser: `ctrlg page`.

    from ctrlg.page import Field, register  # shows a constraint of your own on the page

Names are loaded when they are first used, so that the command line starts fast.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "fields": ["FIELDS", "Around", "Built", "Control", "Field", "register"],
        "server": ["serve"],
        "settings": ["PageSettings"],
    },
)
