package bad

import _ "os/exec" // want "imports os/exec"
