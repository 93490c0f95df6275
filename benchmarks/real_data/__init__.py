"""The benchmark `real_data`: three public data sets, from their files to a champion."""
