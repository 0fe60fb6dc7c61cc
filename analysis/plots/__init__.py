"""Every picture of the report. A picture is a function here that draws it, saves it by `plots.style.save` and returns
its file; a module in `analysis/sections/` calls it and adds a `Picture` to its section."""
