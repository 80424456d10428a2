package oci

// ParseManifest reads a manifest.
func ParseManifest(data []byte, mediaType string) (*Manifest, error) {
	return parseManifest(data, mediaType)
}
