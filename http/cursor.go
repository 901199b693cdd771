package http

import (
	"bytes"
	"encoding/json"
)

// A cursor goes over text that is known to be JSON, so that nothing it meets can fail. It
// makes nothing of what it passes, which encoding/json's tokens would.
type cursor struct {
	text []byte
	at   int
}

// next is the first byte of what comes next; 0 at the end.
func (c *cursor) next() byte {
	for ; c.at < len(c.text); c.at++ {
		switch b := c.text[c.at]; b {
		case ' ', '\t', '\r', '\n':
		default:
			return b
		}
	}
	return 0
}

// enters goes into an object or a list, which comes next.
func (c *cursor) enters() { c.at++ }

// more tells whether another member or element follows, and goes to it. If none does, it
// leaves the object or the list.
func (c *cursor) more() bool {
	switch c.next() {
	case ',':
		c.at++
	case '}', ']':
		c.at++
		return false
	}
	return true
}

// name passes a member's name and its colon. It is without its quotes, and without escapes.
func (c *cursor) name() []byte {
	c.next()
	name := c.scalar()
	c.next()
	c.at++ // the colon
	if bytes.IndexByte(name, '\\') < 0 {
		return name[1 : len(name)-1]
	}
	var plain string
	_ = json.Unmarshal(name, &plain) // it is a string
	return []byte(plain)
}

// scalar passes a string, which it gives in its quotes, a number or a word.
func (c *cursor) scalar() []byte {
	begun := c.at
	if c.text[begun] == '"' {
		c.at++
		for ; c.text[c.at] != '"'; c.at++ {
			if c.text[c.at] == '\\' {
				c.at++
			}
		}
		c.at++
		return c.text[begun:c.at]
	}
	for ; c.at < len(c.text); c.at++ {
		switch c.text[c.at] {
		case ',', ']', '}', ' ', '\t', '\r', '\n':
			return c.text[begun:c.at]
		}
	}
	return c.text[begun:]
}

// value passes whatever comes next.
func (c *cursor) value() []byte {
	c.next()
	begun := c.at
	for depth := 0; ; {
		switch c.next() {
		case '{', '[':
			depth++
			c.at++
		case '}', ']':
			depth--
			c.at++
		case ',', ':':
			c.at++
		default:
			c.scalar()
		}
		if depth == 0 {
			return c.text[begun:c.at]
		}
	}
}
