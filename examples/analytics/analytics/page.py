"""The page: a chart that needs no script, and the same numbers as a table."""

from html import escape

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 720, 250, 36, 18, 24


def render(days: list[dict], asked_by: str) -> str:
    total = sum(day["sign_ups"] for day in days)
    profiles = sum(day["profiles"] for day in days)
    rows = "".join(
        f'<tr><th scope="row"><time>{d["day"]}</time></th>'
        f'<td>{d["sign_ups"]}</td><td>{d["profiles"]}</td></tr>'
        for d in reversed(days)
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>Sign-ups</title>
<link rel="stylesheet" href="/analytics/sign-in/style.css">
</head>
<body>
<main>
<h1>Sign-ups</h1>
<p><strong>{total}</strong> in {len(days)} days, of whom {profiles} got their profile.</p>
{chart(days)}
<details>
<summary>As a table</summary>
<table>
<thead><tr><th scope="col">Day (UTC)</th><th scope="col">Sign-ups</th><th scope="col">Profiles</th></tr></thead>
<tbody>{rows}</tbody>
</table>
</details>
<footer>Asked by {escape(asked_by)}</footer>
</main>
</body>
</html>
"""


def chart(days: list[dict]) -> str:
    """A bar a day, as SVG. What each says is read aloud, and shown below the pointer."""
    most = max(day["sign_ups"] for day in days)
    top = _round_up(most)
    width, height = WIDTH - LEFT, HEIGHT - BOTTOM - TOP
    step = width / len(days)
    parts = []
    for value in sorted({0, top // 2, top}):
        y = TOP + height - height * value / top
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value}</text>')
    for n, day in enumerate(days):
        tall = height * day["sign_ups"] / top
        parts.append(
            f'<rect x="{LEFT + n * step + step * 0.1:.1f}" y="{TOP + height - tall:.1f}" '
            f'width="{step * 0.8:.1f}" height="{tall:.1f}">'
            f"<title>{day['day']}: {day['sign_ups']}</title></rect>"
        )
    for at, day, anchor in ((LEFT, days[0], "start"), (WIDTH, days[-1], "end")):
        parts.append(
            f'<text x="{at}" y="{HEIGHT - 4}" text-anchor="{anchor}">{day["day"]}</text>'
        )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="Sign-ups by day, at most {most}">{"".join(parts)}</svg>'
    )


def _round_up(most: int) -> int:
    """An end of the scale: 1, 2 or 5, and zeros."""
    scale = 1
    while True:
        for digit in (1, 2, 5):
            if most <= digit * scale:
                return digit * scale
        scale *= 10
