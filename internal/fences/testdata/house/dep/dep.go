// Package dep stands for a module that someone else wrote.
package dep

// N is there to be used.
const N = 1
