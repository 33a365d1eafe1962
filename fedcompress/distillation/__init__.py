"""Knowledge distillation outside a federation, and the students that reuse a teacher's head."""
