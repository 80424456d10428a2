package git

import (
	"context"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
)

// submodule is an entry of .gitmodules.
type submodule struct {
	Name, Path, URL string
}

// mostGitmodules is how large a .gitmodules may be, in bytes.
const mostGitmodules = 1 << 20

// parseGitmodules reads a .gitmodules file. It returns the submodules that have
// a path, in the order of the file, and refuses what two readers could take for
// two things: a path or URL that is given twice, and names and paths that are
// none. URLs are as they are written: see resolveSubmoduleURL.
func parseGitmodules(raw []byte) ([]submodule, error) {
	refuse := func(format string, args ...any) ([]submodule, error) {
		return nil, fmt.Errorf("%w: .gitmodules: %s", ErrMalformed, fmt.Sprintf(format, args...))
	}
	if len(raw) > mostGitmodules {
		return refuse("it is larger than %d bytes", mostGitmodules)
	}
	settings, err := parseConfig(raw)
	if err != nil {
		return refuse("%v", err)
	}
	var list []*submodule
	byName, paths := map[string]*submodule{}, map[string]bool{}
	for _, s := range settings {
		if s.section != "submodule" || s.key != "path" && s.key != "url" {
			continue
		}
		m := byName[s.name]
		if m == nil {
			m = &submodule{Name: s.name}
			byName[s.name] = m
			list = append(list, m)
		}
		field := &m.Path
		if s.key == "url" {
			field = &m.URL
		}
		if *field != "" {
			return refuse("submodule %q has a %s twice", clip(s.name), s.key)
		}
		if *field = s.value; s.value == "" {
			return refuse("submodule %q has an empty %s", clip(s.name), s.key)
		}
	}
	var found []submodule
	for _, m := range list {
		if m.Path == "" {
			continue // nothing in the tree is this
		}
		if why := m.wrong(); why != "" {
			return refuse("submodule %q: %s", clip(m.Name), why)
		}
		if paths[m.Path] {
			return refuse("two submodules have the path %q", clip(m.Path))
		}
		paths[m.Path] = true
		found = append(found, *m)
	}
	return found, nil
}

// wrong says what is wrong with a submodule; empty if nothing is. The name is
// not used, but is what other tools name a directory after.
func (m *submodule) wrong() string {
	m.Path = strings.TrimSuffix(m.Path, "/")
	switch {
	case m.Name == "" || slices.Contains(splitPath(m.Name), ".."):
		return "its name is not one"
	case strings.HasPrefix(m.Path, "-"):
		return "its path begins with a dash"
	}
	for element := range strings.SplitSeq(m.Path, "/") {
		if why := badName(element); why != "" {
			return fmt.Sprintf("its path %q: %s", clip(m.Path), why)
		}
	}
	return ""
}

// splitPath splits a name at what some system takes for a separator.
func splitPath(name string) []string {
	return strings.FieldsFunc(name, func(r rune) bool { return r == '/' || r == '\\' })
}

// resolveSubmoduleURL returns the address of a submodule that .gitmodules gives
// as raw in the repository at parent, in the form that [Open] takes. It is one
// of https or ssh; http only where the parent's is; the form user@host:path is
// one of ssh; and what begins with ./ or ../ is relative to the parent's
// address and stays on its host. Everything else is [ErrInvalidURL], whose text
// does not quote the address: there may be a password in it.
func resolveSubmoduleURL(parent *url.URL, raw string) (string, error) {
	refuse := func(why string) (string, error) {
		return "", fmt.Errorf("submodule: %w: %s", ErrInvalidURL, why)
	}
	address, why := raw, ""
	switch {
	case strings.HasPrefix(raw, "./") || strings.HasPrefix(raw, "../"):
		address, why = relativeURL(parent, raw)
	case !strings.Contains(raw, "://"):
		address, why = scpURL(raw)
	}
	if why != "" {
		return refuse(why)
	}
	u, err := parseURL(address)
	if err == nil {
		u, err = parseURL(u.String()) // as it will be opened: escaped, and so longer
	}
	if err != nil {
		return "", fmt.Errorf("submodule: %w", err)
	}
	if slices.Contains(splitPath(u.Path), "..") {
		return refuse("its path holds ..")
	}
	if u.Scheme == "http" && parent.Scheme != "http" {
		return refuse("it is plain HTTP, and that of its repository is not")
	}
	return u.String(), nil
}

// relativeURL goes from a parent's address, as from a directory.
func relativeURL(parent *url.URL, raw string) (address, why string) {
	dirs := strings.FieldsFunc(parent.EscapedPath(), func(r rune) bool { return r == '/' })
	rest := raw
	for {
		if after, ok := strings.CutPrefix(rest, "./"); ok {
			rest = after
			continue
		}
		after, ok := strings.CutPrefix(rest, "../")
		if !ok {
			break
		}
		if len(dirs) == 0 {
			return "", "it leads above the root of its host"
		}
		dirs, rest = dirs[:len(dirs)-1], after
	}
	rest = strings.TrimRight(rest, "/")
	if strings.ContainsAny(rest, `\?#`) || path.Clean("/"+rest) != "/"+rest {
		return "", "it is relative and malformed"
	}
	base := url.URL{Scheme: parent.Scheme, User: parent.User, Host: parent.Host}
	return base.String() + "/" + path.Join(append(dirs, rest)...), ""
}

// scpURL reads the form that scp takes.
func scpURL(raw string) (address, why string) {
	const form = "it is neither an https or ssh URL, nor relative, nor of the form user@host:path"
	host, name, ok := strings.Cut(raw, ":")
	user, host, has := cutLast(host, "@")
	switch {
	case !ok || host == "" || has && user == "" || strings.ContainsAny(user+host, `/\[]@`) || strings.Contains(name, `\`):
		return "", form
	case strings.HasPrefix(name, ":"):
		return "", "it names a command, which is never run"
	case !has && slices.Contains([]string{"file", "git", "http", "https", "ssh"}, strings.ToLower(host)):
		return "", "there is no // behind its scheme"
	case strings.Contains(name, "@"):
		return "", "its path holds @; there may be a password in it"
	case strings.HasPrefix(name, "-"): // its user and host are checked with the URL
		return "", "its path begins with a dash"
	}
	for _, c := range []byte(raw) {
		if c <= ' ' || c == 0x7f {
			return "", "it holds a space or a control character"
		}
	}
	u := url.URL{Scheme: "ssh", Host: host, Path: "/" + strings.TrimLeft(name, "/")}
	if user != "" {
		u.User = url.User(user)
	}
	return u.String(), ""
}

// cutLast cuts at the last separator; without one, all is after it.
func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return "", s, false
}

// submoduleOptions returns how to open the submodule at an address that
// resolveSubmoduleURL returned: as the caller says, or like its parent if it is
// at the parent's origin, or else without credentials and everything else that
// was meant for the parent, but for its limits.
func submoduleOptions(ctx context.Context, parent *url.URL, opts Options, how *Submodules, address string) (Options, error) {
	if how != nil && how.Options != nil {
		return how.Options(ctx, address)
	}
	u, err := parseURL(address)
	if err != nil {
		return Options{}, err
	}
	if origin(u) == origin(parent) {
		return opts, nil
	}
	return Options{Limits: opts.Limits}, nil
}
