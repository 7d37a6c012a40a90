;; The functions of a step that take a number where they are given a text, which is two.
;; expect: refused `step.check` has another signature
(component
  (core module $m (func (export "f") (param i64) (result i32) i32.const 0))
  (core instance $i (instantiate $m))
  (func $f (param "config" u64) (result u32) (canon lift (core func $i "f")))
  (instance $step (export "check" (func $f)) (export "run" (func $f)))
  (export "capstan:plugin/step@wit" (instance $step)))
