"""What takes long on purpose: nights that are disturbed again and again."""
