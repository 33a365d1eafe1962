"""`fedcompress distill`: one student by several methods of distillation, a front of the methods of recipes."""
