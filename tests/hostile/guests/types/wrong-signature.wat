;; The functions of a step without parameters and results.
;; expect: refused `step.check` has another signature
(component
  (core module $m (func (export "f")))
  (core instance $i (instantiate $m))
  (func $f (canon lift (core func $i "f")))
  (instance $step (export "check" (func $f)) (export "run" (func $f)))
  (export "capstan:plugin/step@wit" (instance $step)))
