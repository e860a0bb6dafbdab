"""Writing a bundle: conversion of the networks, and what lies beside them."""
