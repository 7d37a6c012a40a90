;; A core module inside that imports what nobody gives it.
;; expect: refused cannot be used
(component
  (core module $m (import "host" "system" (func (param i32))))
  (core instance $i (instantiate $m))
  (instance $none) (export "capstan:plugin/step@wit" (instance $none)))
