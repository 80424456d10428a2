package adopt

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gitopskit/gitopskit/gc"
)

const (
	maxIDBytes    = 1024
	maxCandidates = 16
)

// parse reads "<namespace>_<name>_<group>_<kind>". Only the name may hold an
// underscore. It returns every object that the id may mean, at least one.
func parse(id string) ([]gc.Key, error) {
	if len(id) > maxIDBytes {
		return nil, &IDError{ID: id[:64] + "…", Reason: fmt.Sprintf("it has more than %d bytes", maxIDBytes)}
	}
	parts := strings.Split(id, "_")
	n := len(parts)
	if n < 4 {
		return nil, &IDError{ID: id, Reason: "it does not have the four parts namespace, name, group and kind"}
	}
	key := gc.Key{Namespace: parts[0], Name: strings.Join(parts[1:n-2], "_"), Group: parts[n-2], Kind: parts[n-1]}
	if key.Name == "" || key.Kind == "" {
		return nil, &IDError{ID: id, Reason: "its name or kind is empty"}
	}
	if !strings.Contains(key.Name, "__") || !writesColons(key) {
		return []gc.Key{key}, nil
	}
	names := readings(key.Name, maxCandidates+1)
	if len(names) > maxCandidates {
		return nil, &IDError{ID: id, Reason: fmt.Sprintf("it has more than %d meanings", maxCandidates)}
	}
	out := make([]gc.Key, 0, len(names))
	for _, name := range names {
		key.Name = name
		out = append(out, key)
	}
	return out, nil
}

// writesColons tells the kinds in whose names a colon is written as "__".
func writesColons(k gc.Key) bool {
	kinds := []string{"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"}
	return k.Group == "rbac.authorization.k8s.io" && slices.Contains(kinds, k.Kind)
}

// readings returns up to limit names that become text when each of their colons is
// written as two underscores.
func readings(text string, limit int) []string {
	i := strings.Index(text, "__")
	if i < 0 || limit <= 1 {
		return []string{text}
	}
	var out []string
	for _, rest := range readings(text[i+2:], limit) {
		out = append(out, text[:i]+":"+rest)
	}
	if left := limit - len(out); left > 0 {
		for _, rest := range readings(text[i+1:], left) {
			out = append(out, text[:i]+"_"+rest)
		}
	}
	return out
}
