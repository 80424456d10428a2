package repository

// Odd reports that an index was read as a whole.
func (x *Index) Odd() bool { return x.whole != nil }
