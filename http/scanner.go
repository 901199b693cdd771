package http

import (
	"bytes"
	"encoding/json"
)

// A scanner goes over text that is known to be JSON, so that nothing it meets can fail. It
// makes nothing of what it passes, which encoding/json's tokens would.
type scanner struct {
	text []byte
	at   int
}

// next is the first byte of what comes next; 0 at the end.
func (s *scanner) next() byte {
	for ; s.at < len(s.text); s.at++ {
		switch b := s.text[s.at]; b {
		case ' ', '\t', '\r', '\n':
		default:
			return b
		}
	}
	return 0
}

// enters goes into an object or a list, which comes next.
func (s *scanner) enters() { s.at++ }

// more tells whether another member or element follows, and goes to it. If none does, it
// leaves the object or the list.
func (s *scanner) more() bool {
	switch s.next() {
	case ',':
		s.at++
	case '}', ']':
		s.at++
		return false
	}
	return true
}

// name passes a member's name and its colon. It is without its quotes, and without escapes.
func (s *scanner) name() []byte {
	s.next()
	name := s.scalar()
	s.next()
	s.at++ // the colon
	if bytes.IndexByte(name, '\\') < 0 {
		return name[1 : len(name)-1]
	}
	var plain string
	_ = json.Unmarshal(name, &plain) // it is a string
	return []byte(plain)
}

// scalar passes a string, which it gives in its quotes, a number or a word.
func (s *scanner) scalar() []byte {
	begun := s.at
	if s.text[begun] == '"' {
		s.at++
		for ; s.text[s.at] != '"'; s.at++ {
			if s.text[s.at] == '\\' {
				s.at++
			}
		}
		s.at++
		return s.text[begun:s.at]
	}
	for ; s.at < len(s.text); s.at++ {
		switch s.text[s.at] {
		case ',', ']', '}', ' ', '\t', '\r', '\n':
			return s.text[begun:s.at]
		}
	}
	return s.text[begun:]
}

// value passes whatever comes next.
func (s *scanner) value() []byte {
	s.next()
	begun := s.at
	for depth := 0; ; {
		switch s.next() {
		case '{', '[':
			depth++
			s.at++
		case '}', ']':
			depth--
			s.at++
		case ',', ':':
			s.at++
		default:
			s.scalar()
		}
		if depth == 0 {
			return s.text[begun:s.at]
		}
	}
}
