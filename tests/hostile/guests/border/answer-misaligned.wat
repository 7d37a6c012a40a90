;; Answers with an odd address.
;; kind: scheduler
;; expect: ends not aligned
(func (export "scheduler#handle") (param i32) (result i32) (i32.const 129))
