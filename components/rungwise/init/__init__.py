"""`rungwise init`: a new workspace from a file of rows. It guesses what it can and prints each guess."""
