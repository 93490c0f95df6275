"""Results for people: terminal text, pages and figures. The values come from `read`."""
