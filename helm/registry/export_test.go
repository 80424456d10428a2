package registry

// ParseChallenge is what a registry's demand for credentials is read with.
var ParseChallenge = parseChallenge

// MayAsk reports whether a server of tokens may see the password.
func (r *Repository) MayAsk(realm string) bool {
	_, err := r.realm(realm)
	return err == nil
}
