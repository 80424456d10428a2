package notify

import (
	"net/url"
	"strings"
)

// maxAddress is the longest address of a repository, in bytes.
const maxAddress = 2048

// repository is where a Git repository is, as far as a platform's API needs to know.
type repository struct {
	scheme string   // of its API: that of an http address, otherwise https
	host   string   // with the port of an http address
	path   []string // without .git; none is empty, "." or ".."
}

// parseRepository reads the address of a repository: https://host/path, http://host/path,
// ssh://user@host:port/path or user@host:path. It says what is wrong without repeating
// the address, which may hold a secret.
func parseRepository(address string) (r repository, problem string) {
	if len(address) > maxAddress {
		return r, "is longer than 2048 bytes"
	}
	if !strings.Contains(address, "://") {
		return parseSCP(address)
	}
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return r, "cannot be parsed"
	case u.Scheme != "https" && u.Scheme != "http" && u.Scheme != "ssh":
		return r, "must start with https://, http:// or ssh://, or be of the form git@host:path"
	case u.Hostname() == "":
		return r, "names no host"
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return r, "has a query or a fragment, which no repository has"
	}
	r = repository{scheme: u.Scheme, host: u.Host}
	if u.Scheme == "ssh" {
		// Whoever serves SSH at a port of its own serves HTTPS at the usual one.
		r.scheme, r.host = "https", webHost(u.Hostname())
	} else if u.User != nil && !ownsUser(u) {
		return r, "holds a user or a password, which belong into options of their own"
	}
	if !validHost(r.host) {
		return r, "names no host"
	}
	return r.below(strings.Split(u.EscapedPath(), "/"))
}

// parseSCP reads user@host:path.
func parseSCP(address string) (r repository, problem string) {
	const form = "must start with https://, http:// or ssh://, or be of the form git@host:path"
	where, path, found := strings.Cut(address, ":")
	_, host, user := strings.Cut(where, "@")
	if !found || !user || !validHost(host) {
		return r, form
	}
	r = repository{scheme: "https", host: webHost(host)}
	parts := strings.Split(path, "/")
	for i, part := range parts {
		parts[i] = url.PathEscape(part) // such a path has no escapes of its own
	}
	return r.below(parts)
}

// below adds the elements of an escaped path.
func (r repository) below(escaped []string) (repository, string) {
	const wrong = "has a path that cannot be a repository's"
	for i, e := range escaped {
		name, err := url.PathUnescape(e)
		switch {
		case name == "" && (i == 0 || i == len(escaped)-1):
			continue // the slashes at both ends
		case err != nil || !validName(name):
			return repository{}, wrong
		}
		r.path = append(r.path, name)
	}
	if n := len(r.path); n > 0 {
		r.path[n-1] = strings.TrimSuffix(r.path[n-1], ".git")
		if !validName(r.path[n-1]) {
			return repository{}, wrong
		}
	}
	return r, ""
}

// validName reports whether a name can be one element of a path, and no way out of it.
func validName(name string) bool {
	return name != "" && name != "." && name != ".." && plain(name) == name &&
		!strings.ContainsAny(name, "/\\?#\n\t\uFFFD")
}

// validHost reports whether a host, with or without a port, is a name or an address.
func validHost(host string) bool {
	if strings.HasPrefix(host, "-") || strings.ContainsFunc(host, func(r rune) bool {
		return r >= 0x80 || class(r) == other && !strings.ContainsRune("-._:[]", r)
	}) {
		return false
	}
	u, err := url.Parse("https://" + host)
	return err == nil && u.Host == host && u.Hostname() != ""
}

// ownsUser reports whether the user in an address is only a name: Azure DevOps puts the
// organization there.
func ownsUser(u *url.URL) bool {
	_, secret := u.User.Password()
	name := u.User.Username()
	return !secret && u.Hostname() == "dev.azure.com" && strings.HasPrefix(u.Path, "/"+name+"/")
}

// webHost is the host of the website that belongs to a host that serves SSH.
func webHost(ssh string) string {
	switch ssh {
	case "ssh.github.com":
		return "github.com"
	case "altssh.gitlab.com":
		return "gitlab.com"
	case "altssh.bitbucket.org":
		return "bitbucket.org"
	case "ssh.dev.azure.com", "vs-ssh.visualstudio.com":
		return "dev.azure.com"
	}
	if strings.Contains(ssh, ":") { // the address of an IPv6 host
		return "[" + ssh + "]"
	}
	return ssh
}

// url is the address of something on the repository's host. The elements are not
// escaped yet.
func (r repository) url(elements ...string) string {
	var b strings.Builder
	b.WriteString(r.scheme + "://" + r.host)
	for _, e := range elements {
		b.WriteString("/" + url.PathEscape(e))
	}
	return b.String()
}
