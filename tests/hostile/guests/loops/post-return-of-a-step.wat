;; The same in a step.
;; expect: ends it ran for more than 300 ms
(func (export "cabi_post_step#run") (param i32)
  (loop $again (br $again)))
