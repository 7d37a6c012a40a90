;; A component with a manifest and nothing else.
;; expect: refused found no export
(component)
