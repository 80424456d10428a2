package kube

// Decode reads one object as a list holds it.
func Decode(l *Listed, raw []byte) error { return l.decode(raw) }
