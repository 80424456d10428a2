package release

// Decode reads the data of a stored record.
func Decode(data string) error {
	_, err := decode(data)
	return err
}

// ParseManifest reads the objects of a manifest.
func ParseManifest(text string) error {
	objects, err := parse(text)
	for _, obj := range objects {
		_, _ = intentOf(obj)
	}
	return err
}
