;; Imports a function as a core module would.
;; expect: refused which no master offers
(component (import "env" (func)))
