package git

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode"
)

// parseURL reads the address of a repository. Its errors never quote the
// address: there may be a password in it.
func parseURL(raw string) (*url.URL, error) {
	refuse := func(format string, args ...any) (*url.URL, error) {
		return nil, fmt.Errorf("%w: %s", ErrInvalidURL, fmt.Sprintf(format, args...))
	}
	if raw == "" {
		return refuse("it is empty; give an address such as https://host/path or ssh://git@host/path")
	}
	if len(raw) > 2048 {
		return refuse("it is longer than 2048 bytes")
	}
	for _, c := range []byte(raw) {
		if c <= ' ' || c == 0x7f {
			return refuse("it holds a space or a control character")
		}
	}
	if strings.HasPrefix(raw, "-") {
		return refuse("it begins with a dash")
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme == "" || u.Opaque != "" || !strings.Contains(raw, "://") {
		var why *url.Error
		if errors.As(err, &why) && strings.Contains(raw, "://") {
			return refuse("it cannot be parsed; characters such as %% and spaces are written as %%25 and %%20")
		}
		return refuse("it has no scheme; write https://host/path, or ssh://user@host/path for user@host:path")
	}
	switch u.Scheme {
	case "http", "https":
		if u.User != nil {
			return refuse("it holds a user or a password; give them in Options.Auth")
		}
	case "ssh":
		if _, has := u.User.Password(); has {
			return refuse("it holds a password; give a key in Options.Auth")
		}
		if user := u.User.Username(); strings.HasPrefix(user, "-") || strings.ContainsFunc(user, unicode.IsControl) {
			return refuse("its user begins with a dash or holds a control character")
		}
	default:
		return refuse("scheme %q is not supported; http, https and ssh are", clip(u.Scheme))
	}
	host := u.Hostname()
	if host == "" || strings.HasPrefix(host, "-") || strings.ContainsAny(host, `/\'"%`) {
		return refuse("its host is missing or malformed")
	}
	if strings.Trim(u.Path, "/") == "" {
		return refuse("it names no repository on %s", clip(host))
	}
	if !validPort(u) {
		return refuse("its port is not a number from 1 to 65535")
	}
	if strings.ContainsFunc(u.Path, unicode.IsControl) {
		return refuse("its path holds a control character")
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return refuse("it has a query or a fragment, which the address of a repository has not")
	}
	return u, nil
}

// validPort says that the port is one, if there is any.
func validPort(u *url.URL) bool {
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	return u.Port() == "" || err == nil && n > 0
}

// origin is what credentials are bound to: scheme, host and port.
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "ssh": "22"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}
