;; Imports an interface of the plugin package that does not exist.
;; expect: refused not in the world
(component (import "capstan:plugin/root@wit" (instance)))
