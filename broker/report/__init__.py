"""HTML pages in one file that needs nothing else: page parts, and the pages made of them.

`page.page(title, parts)` makes one of `parts`; their data is `rows.Rows`. What a page looks like is
page.html and page.css, what it does is page.js; the charts' library is made at build time.
"""
