"""The page and its server: sessions in a browser, over a documented API (docs/web.md)."""
