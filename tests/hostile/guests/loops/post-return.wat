;; Answers well and loops for ever where it is told that the answer was read.
;; kind: scheduler
;; expect: ends it ran for more than 300 ms
(func (export "cabi_post_scheduler#handle") (param i32)
  (loop $again (br $again)))
