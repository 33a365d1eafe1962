"""How contents become bytes and Flower records, and what they cost."""
