"""What a set of captioned clips is: clips of one size or several, their reading order and their split."""
