"""From public files to a champion, on three real data sets."""
