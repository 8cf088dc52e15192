require_relative 'boot'
