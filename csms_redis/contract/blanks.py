"""The characters that nobody sees at the ends of a text, or within it."""

BLANKS = (
    # white space (Unicode's White_Space, and the separators of ASCII)
    "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0\u1680"
    "\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
    # zero width, soft hyphen, marks of direction, joiners
    "\xad\u034f\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e"
    "\u2060\u2061\u2062\u2063\u2064\u2065\u2066\u2067\u2068\u2069\u206a\u206b\u206c\u206d\u206e\u206f"
    "\ufeff"
    # letters and symbols that are drawn blank
    "\u115f\u1160\u2800\u3164\uffa0"
)
"""Blanks of every kind: white space, no-break and zero-width characters, letters drawn blank."""
