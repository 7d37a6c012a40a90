;; A generator that imports `clock`: its builders would depend on more than its parameters.
;; kind: generator
;; expect: refused not in the world
(component (import "capstan:plugin/clock@wit" (instance)))
