;; A function under the name of the interface.
;; expect: refused cannot be used
(component
  (core module $m (func (export "f")))
  (core instance $i (instantiate $m))
  (func $f (canon lift (core func $i "f")))
  (export "capstan:plugin/step@wit" (func $f)))
