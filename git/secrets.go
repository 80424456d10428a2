package git

import (
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// secrets are the strings that must never be in an error. Some are known from
// the beginning, others come and go.
type secrets struct {
	fixed []string

	mu      sync.Mutex
	passing []string // the newest last
}

func newSecrets(fixed ...string) *secrets {
	return &secrets{fixed: slices.DeleteFunc(fixed, func(s string) bool { return s == "" })}
}

// add takes secrets that were not known before. A few are kept: who still
// repeats an older one repeats one that has expired.
func (s *secrets) add(texts ...string) {
	const most = 16
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range texts {
		if text != "" && !slices.Contains(s.passing, text) {
			s.passing = append(s.passing, text)
		}
	}
	s.passing = s.passing[max(0, len(s.passing)-most):]
}

func (s *secrets) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Concat(s.fixed, s.passing)
}

// redact replaces secrets, as they are and as a URL, a quoted string or clip
// would show them.
func (s *secrets) redact(text string) string {
	for _, secret := range s.all() {
		quoted := strconv.Quote(secret)
		for _, form := range []string{
			secret, url.QueryEscape(secret), url.PathEscape(secret), quoted[1 : len(quoted)-1], strings.TrimSpace(printable(secret)),
		} {
			if form != "" {
				text = redactCut(strings.ReplaceAll(text, form, "***"), form)
			}
		}
	}
	return text
}

// redactCut replaces the beginning of a secret where clip has cut off the rest.
func redactCut(text, secret string) string {
	const telling = 4 // bytes; fewer may be anything
	var b strings.Builder
	for {
		head, rest, found := strings.Cut(text, clipped)
		if !found {
			b.WriteString(text)
			return b.String()
		}
		for n := min(len(secret)-1, len(head)); n >= telling; n-- {
			if cut, ok := strings.CutSuffix(head, secret[:n]); ok {
				head = cut + "***"
				break
			}
		}
		b.WriteString(head + clipped)
		text = rest
	}
}

// clean makes sure that an error holds no secret. We put none into it, but a
// server may repeat what it was sent, wherever it can put words into an error.
func (s *secrets) clean(err error) error {
	var missing *ReferenceError
	if errors.As(err, &missing) {
		for i, name := range missing.Have {
			missing.Have[i] = s.redact(name)
		}
	}
	text := err.Error()
	if clean := s.redact(text); clean != text {
		return &redacted{clean, err}
	}
	return err
}

// redacted is an error of another text. Its cause can be recognized, but not
// unwrapped, and so not be printed by accident.
type redacted struct {
	text  string
	cause error
}

func (r *redacted) Error() string        { return r.text }
func (r *redacted) Is(target error) bool { return errors.Is(r.cause, target) }
func (r *redacted) As(target any) bool   { return errors.As(r.cause, target) }
