;; A generator that imports `entropy`: its builders would depend on more than its parameters.
;; kind: generator
;; expect: refused not in the world
(component (import "capstan:plugin/entropy@wit" (instance)))
