"""What is done on the page of `stage web`."""


def order(page, stem: str, takes: int) -> None:
    """Choose a stem, and have so many takes of it made."""
    page.get_by_role("radio", name=stem).check()
    if not page.get_by_label("Takes", exact=True).is_visible():
        page.locator(".add summary").click()
    page.get_by_label("Takes", exact=True).fill(str(takes))
    page.get_by_role("button", name=f"Play {stem}").click()
