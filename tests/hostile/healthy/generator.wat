;; Makes nothing and says so.
;; kind: generator
;; expect: answers
