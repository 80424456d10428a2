package gc

// Shrunk makes a store cut inventories of a few entries into shards, of five
// times n each, so that a test sees in ten what happens in ten thousand.
func Shrunk(s *ClusterStore, n int) *ClusterStore {
	s.sizes = sizesOf(n)
	return s
}

func sizesOf(n int) sizes {
	return sizes{inline: 8 * n, shrink: 3 * n, changes: 4 * n, shard: 5 * n, largest: 10 * n, least: 2 * n}
}

// Crowding makes a Pruner list and watch together what is in one place, from two
// objects on.
func Crowding(p *Pruner) *Pruner {
	p.many = 2
	return p
}
